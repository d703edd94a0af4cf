-- cells ..
-- lag
SELECT tid, CAST(sum(ts - before) AS BIGINT) FROM (SELECT CAST(tid AS BIGINT) AS tid, ts, gets, lag(ts) OVER w AS before, lag(gets) OVER w AS got FROM (SELECT tid, ts, 0 AS gets FROM $events WHERE kind = 1 AND tid <> 0 UNION ALL SELECT arg0, ts, 1 FROM $events WHERE kind = 1 AND arg0 <> 0) AS pair WINDOW w AS (PARTITION BY tid ORDER BY ts, gets)) AS steps WHERE gets = 1 AND got = 0 AND before > 0 GROUP BY tid
-- running
SELECT tid, CAST(sum(ts - before) AS BIGINT) FROM (SELECT CAST(tid AS BIGINT) AS tid, ts, gets, max(CASE WHEN gets = 0 THEN ts ELSE 0 END) OVER (PARTITION BY tid ORDER BY ts, gets ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before FROM (SELECT tid, ts, 0 AS gets FROM $events WHERE kind = 1 AND tid <> 0 UNION ALL SELECT arg0, ts, 1 FROM $events WHERE kind = 1 AND arg0 <> 0) AS pair) AS steps WHERE gets = 1 AND before > 0 GROUP BY tid
-- asof
SELECT CAST(i.tid AS BIGINT), CAST(sum(i.ts - o.ts) AS BIGINT) FROM (SELECT arg0 AS tid, ts FROM $events WHERE kind = 1 AND arg0 <> 0) AS i ASOF JOIN (SELECT CAST(tid AS BIGINT) AS tid, ts FROM $events WHERE kind = 1 AND tid <> 0) AS o ON i.tid = o.tid AND i.ts >= o.ts GROUP BY i.tid
