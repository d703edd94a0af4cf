-- cells ..
-- scan
SELECT comm, count(*) FROM $events WHERE kind = 1 GROUP BY comm
