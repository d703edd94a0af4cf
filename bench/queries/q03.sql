-- cells ..
-- scan
SELECT comm, count(*) FROM $events WHERE ts BETWEEN $start AND $end GROUP BY comm
