"""Wire formats, each a pure pair of translators between bytes and the canonical model. Nothing here awaits."""
