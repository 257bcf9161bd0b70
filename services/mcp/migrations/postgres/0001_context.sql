CREATE TABLE documents (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  collection text NOT NULL,
  source text COLLATE "C" NOT NULL,
  content_hash text NOT NULL,
  local_only boolean NOT NULL,
  chunk_count integer NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (collection, source)
);

CREATE TABLE document_metadata (
  document_id bigint NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  key text NOT NULL,
  value text NOT NULL,
  PRIMARY KEY (document_id, key)
);

CREATE INDEX document_metadata_by_value ON document_metadata (key, value, document_id);

CREATE TABLE chunks (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text COLLATE "C" NOT NULL UNIQUE,
  document_id bigint NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  ordinal integer NOT NULL,
  start_line integer NOT NULL,
  end_line integer NOT NULL,
  title text NOT NULL,
  text text NOT NULL,
  -- A: title, B: source, C: text, D: the words that identifiers hide.
  words tsvector NOT NULL
);

CREATE INDEX chunks_by_document ON chunks (document_id, ordinal);
CREATE INDEX chunks_by_words ON chunks USING gin (words);

CREATE TABLE index_versions (
  id text PRIMARY KEY,
  model text NOT NULL,
  dimensions integer NOT NULL CHECK (dimensions > 0),
  state text NOT NULL CHECK (state IN ('building', 'current')),
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE UNIQUE INDEX index_versions_one_current ON index_versions (state) WHERE state = 'current';

-- `vector`: 32-bit floats, little-endian.
CREATE TABLE vectors (
  chunk_sequence bigint NOT NULL REFERENCES chunks (sequence) ON DELETE CASCADE,
  version_id text NOT NULL REFERENCES index_versions (id) ON DELETE CASCADE,
  vector bytea NOT NULL,
  PRIMARY KEY (chunk_sequence, version_id)
);

CREATE INDEX vectors_by_version ON vectors (version_id, chunk_sequence);
