CREATE TABLE documents (
  id INTEGER PRIMARY KEY,
  collection TEXT NOT NULL,
  source TEXT NOT NULL,
  content_hash TEXT NOT NULL,
  local_only INTEGER NOT NULL,
  chunk_count INTEGER NOT NULL,
  updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  UNIQUE (collection, source)
) STRICT;

CREATE TABLE document_metadata (
  document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (document_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX document_metadata_by_value ON document_metadata (key, value, document_id);

-- AUTOINCREMENT: a sequence is never given twice, so that it can be a cursor.
CREATE TABLE chunks (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  start_line INTEGER NOT NULL,
  end_line INTEGER NOT NULL,
  title TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT;

CREATE INDEX chunks_by_document ON chunks (document_id, ordinal);

-- The words of each chunk under its sequence; the texts themselves stay in `chunks`.
CREATE VIRTUAL TABLE chunk_words USING fts5 (
  title, source, text, hidden,
  content = '', contentless_delete = 1,
  tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TABLE index_versions (
  id TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  dimensions INTEGER NOT NULL CHECK (dimensions > 0),
  state TEXT NOT NULL CHECK (state IN ('building', 'current')),
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

CREATE UNIQUE INDEX index_versions_one_current ON index_versions (state) WHERE state = 'current';

-- `vector`: 32-bit floats, little-endian.
CREATE TABLE vectors (
  chunk_sequence INTEGER NOT NULL REFERENCES chunks (sequence) ON DELETE CASCADE,
  version_id TEXT NOT NULL REFERENCES index_versions (id) ON DELETE CASCADE,
  vector BLOB NOT NULL,
  PRIMARY KEY (chunk_sequence, version_id)
) STRICT;

CREATE INDEX vectors_by_version ON vectors (version_id, chunk_sequence);
