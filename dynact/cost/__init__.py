"""What a layer costs without a clock: parameters, arithmetic, memory traffic, memory."""
