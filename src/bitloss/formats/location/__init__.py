"""Where models come from: what the user wrote, the hub, and what comes with bitloss."""
