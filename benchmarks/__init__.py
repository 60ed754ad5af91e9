"""How fast it is, against others and against what the machine allows: ``hatch run bench``.

The parts: ``loads`` says what is measured and ``world`` what is asked; each module of ``sides`` is one contestant;
``worker`` is a process of one side, and ``runner`` starts two for each and lets them take turns. ``results`` keeps the
figures, ``figures`` condenses them, ``targets`` judges them, ``table`` and ``picture`` show them.
"""
