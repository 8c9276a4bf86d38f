-- Finding a clinician's overlapping appointments must not read the whole table.
CREATE INDEX appointments_calendar ON appointments (clinician, starts_at, ends_at) WHERE status = 'booked';
