-- Keeps the numbering without a gap; changes nothing.
SELECT 1;
