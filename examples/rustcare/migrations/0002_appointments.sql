CREATE TABLE appointments (
    id          INTEGER PRIMARY KEY,
    patient_id  INTEGER NOT NULL REFERENCES patients (id),
    clinician   TEXT    NOT NULL,
    starts_at   INTEGER NOT NULL, -- seconds since the epoch, UTC
    ends_at     INTEGER NOT NULL CHECK (ends_at > starts_at),
    reason      TEXT    NOT NULL, -- diagnosis code
    status      TEXT    NOT NULL CHECK (status IN ('booked', 'cancelled'))
) STRICT;

CREATE INDEX appointments_patient ON appointments (patient_id);
