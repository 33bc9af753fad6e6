"""Write the end-of-day report."""
from domain.market import Session
class Reporter:
    def __init__(self, store, *, calendar, clock): pass
    async def write(self, session: Session) -> str: return "no report"
