-- Flights that arrived, with what is known of them at push-back.
SELECT
    make_timestamp(year, month, day, sched_dep_time // 100, sched_dep_time % 100, 0) AS scheduled, -- local time
    carrier,
    origin,
    dest,
    strftime(make_date(year, month, day), '%a') AS weekday,
    hour,
    distance,
    dep_delay,
    arr_delay
FROM raw
WHERE arr_delay IS NOT NULL -- null: cancelled or diverted
