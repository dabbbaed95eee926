CREATE TABLE notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL,
    file text,
    file_name text,
    words integer
);
CREATE TABLE digests (
    at timestamptz NOT NULL DEFAULT now(),
    notes bigint NOT NULL
);
-- down
DROP TABLE digests;
DROP TABLE notes;
