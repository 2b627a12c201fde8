"""A serving plan replayed request by request: simulation, percentiles, own loads, replicas that come and go."""
