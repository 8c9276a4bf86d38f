CREATE TABLE patients (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    birth_date  TEXT    NOT NULL, -- YYYY-MM-DD
    email       TEXT,
    created_at  INTEGER NOT NULL  -- seconds since the epoch, UTC
) STRICT;

CREATE UNIQUE INDEX patients_email ON patients (email) WHERE email IS NOT NULL;
