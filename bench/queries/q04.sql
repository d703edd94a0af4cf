-- cells ..
-- scan
SELECT ts, arg0 FROM $events WHERE txn = $hash
-- side
SELECT ts, arg0 FROM $txns WHERE txn = $hash
