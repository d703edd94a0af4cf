-- cells ..
-- scan
SELECT CAST(pid AS BIGINT), count(*) FROM $events WHERE kind = 1 GROUP BY pid
