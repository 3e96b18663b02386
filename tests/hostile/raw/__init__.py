"""A DTLS 1.2 PSK client of raw records, independent of src/: it can send anything, in any order."""
