-- Trips of 1 to 60 minutes. Columns start with lpep_ for green and tpep_ for yellow taxis.
WITH trips AS (
    SELECT
        COLUMNS('^[lt]pep_pickup_datetime$') AS pickup,
        COLUMNS('^[lt]pep_dropoff_datetime$') AS dropoff,
        -- By way of an integer: some months have the ids as floating point, and '1.0' is another zone than '1'.
        PULocationID::INTEGER::VARCHAR AS PULocationID,
        DOLocationID::INTEGER::VARCHAR AS DOLocationID
    FROM raw
)

SELECT
    PULocationID,
    DOLocationID,
    CASE
        WHEN hour(pickup) < 6 THEN 'night'
        WHEN hour(pickup) < 10 THEN 'morning'
        WHEN hour(pickup) < 16 THEN 'day'
        ELSE 'evening'
    END AS daypart,
    epoch(dropoff - pickup) / 60 AS duration
FROM trips
WHERE epoch(dropoff - pickup) BETWEEN 60 AND 3600
