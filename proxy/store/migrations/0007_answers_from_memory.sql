-- How many requests were answered from memory, and how many could have been.
ALTER TABLE usage ADD COLUMN cache_hits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cache_misses INTEGER NOT NULL DEFAULT 0;
