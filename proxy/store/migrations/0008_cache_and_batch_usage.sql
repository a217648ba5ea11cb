-- How many requests were answered from memory, and how many were looked for there in vain.
ALTER TABLE usage ADD COLUMN cache_hits INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN cache_misses INTEGER NOT NULL DEFAULT 0;

-- Whether what a batch used is among the sums of usage.
ALTER TABLE objects ADD COLUMN usage_counted INTEGER NOT NULL DEFAULT 0;
