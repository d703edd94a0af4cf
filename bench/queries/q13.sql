-- cells g..
-- scan
SELECT CAST(cgroup AS BIGINT), count(*), CAST(sum(arg1) AS BIGINT) FROM $events WHERE kind = 5 GROUP BY cgroup
