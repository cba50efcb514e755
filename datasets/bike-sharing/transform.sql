-- Codes are categories, so they become text. casual + registered = cnt, so neither may be here.
SELECT
    dteday + to_hours(hr) AS time,
    yr,
    season::VARCHAR AS season,
    mnth::VARCHAR AS mnth,
    hr::VARCHAR AS hr,
    weekday::VARCHAR AS weekday,
    workingday::VARCHAR AS workingday,
    holiday::VARCHAR AS holiday,
    weathersit::VARCHAR AS weathersit,
    temp,
    atemp,
    hum,
    windspeed,
    cnt
FROM raw
