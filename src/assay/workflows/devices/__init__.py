"""One model on several devices of this machine, a process for each."""
