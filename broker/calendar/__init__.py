"""Windows and freezes as spans of UTC: pure arithmetic over the time zone data of the `tzdata` package."""
