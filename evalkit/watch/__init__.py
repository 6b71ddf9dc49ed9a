"""Is head still better than where the loop started, and which keeps of a past run were real?"""
