"""Random mutations of valid messages against every decoder, for as long as one likes (`make fuzz`)."""
