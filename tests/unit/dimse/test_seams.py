"""The names and ways of pynetdicom that the receiver leans on. When one of these fails, a release moved a seam."""

import inspect

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import StateMachine
from pynetdicom.transport import AssociationServer, AssociationSocket


def test_the_library_asks_its_socket_before_it_reads() -> None:
    source = inspect.getsource(DULServiceProvider._is_transport_event)
    assert "self.socket.ready" in source
    assert "self.socket.close()" in source


def test_the_library_reads_whole_units_through_recv_alone() -> None:
    source = inspect.getsource(DULServiceProvider._read_pdu_data)
    assert source.count("self.socket.recv(") == 2
    assert "select" not in source


def test_the_library_sends_through_its_socket() -> None:
    assert "self.socket.send(" in inspect.getsource(DULServiceProvider._send)


def test_the_state_machine_tells_its_state() -> None:
    assert "self.current_state" in inspect.getsource(StateMachine.__init__)


def test_a_socket_announces_its_connection_and_its_end() -> None:
    assert '"Evt5"' in inspect.getsource(AssociationSocket.__init__)
    close = inspect.getsource(AssociationSocket.close)
    assert '"Evt17"' in close
    assert "self._is_connected" in close


def test_an_association_takes_its_socket_and_closes_through_its_server() -> None:
    assert "self.dul.socket = socket" in inspect.getsource(Association.set_socket)
    assert "self._server.shutdown_request" in inspect.getsource(Association.run_reactor)


def test_the_association_thread_waits_at_its_checkpoint_each_turn() -> None:
    assert "self._reactor_checkpoint.wait()" in inspect.getsource(Association._run_reactor)
    assert "self._reactor_checkpoint.set()" in inspect.getsource(Association._abort_blocking)


def test_the_server_takes_a_handler_class_of_ours() -> None:
    assert "request_handler" in inspect.signature(AssociationServer.__init__).parameters
