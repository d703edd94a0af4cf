-- cells -.
-- scan
SELECT CAST(pid AS BIGINT), count(*) AS n FROM $events WHERE kind = 1 GROUP BY pid ORDER BY n DESC LIMIT 10
