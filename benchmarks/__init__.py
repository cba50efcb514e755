"""What Lakeline costs, against what one would pick instead."""
