"""Who is served when, among many streams: pure functions and small memories of what was served before.

plan        what one stream asks for, and what all of them share
detection   when a stream's next look for faces falls due
gather      how long a batch waits for the others
turns       whose turn it is when not all can be served
sampling    which slots of a face are sampled, and why the others are not
overload    from the thread's busy time to a level, and from a level to each stream's rate
scheduler   all of it behind one object, for the pipeline and the runner
"""
