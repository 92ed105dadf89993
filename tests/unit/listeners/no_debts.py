"""A book in which nothing can be owed, for exchanges that are not obliged to undo anything."""


class NoDebts:
    def note(self, debts, noted):
        raise AssertionError("nothing here leaves a debt")

    settle = mark = owed_still = note

    def written(self, by, device, request, relayed, first_intent, met, kept):
        return False
