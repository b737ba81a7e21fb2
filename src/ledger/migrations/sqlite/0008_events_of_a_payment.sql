-- Which events of a payment are of a kind: without the second column SQLite preferred the index by kind, and read the events of
-- all payments.
DROP INDEX events_of_a_payment;
CREATE INDEX events_of_a_payment ON events (payment_id, kind);
