"""The simulated exchange behind Alpaca's HTTP and WebSocket API, on loopback only."""

from brokers.paper_server.faults import Fault, parse_fault
from brokers.paper_server.options import Keys, ServerOptions
from brokers.paper_server.server import PaperServer

__all__ = ["Fault", "Keys", "PaperServer", "ServerOptions", "parse_fault"]
