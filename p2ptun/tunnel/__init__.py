"""One peer's session: keys, rekey, replay window and control messages. It knows no addresses."""
