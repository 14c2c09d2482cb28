"""Frames prepared on the GPU for as long as the backbone's runtime reads its memory: runtimes come and go meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from engines.cuda.choice import preprocessor_for
from engines.cuda.ports import Preprocessor, device_inference
from engines.errors import EngineError
from engines.runtime.ports import Backend

log = logging.getLogger(__name__)


class PreparedUser(Protocol):
    """What can take its pixels from the GPU: the scorer, a detector."""

    def prepare_on(self, preprocessor: Preprocessor | None) -> None: ...


class GpuPreparation:
    """One preprocessor at most. Made on the thread that brings a runtime, for compiling kernels takes a while; taken up
    and given back by the analysis thread alone, between two steps."""

    def __init__(
        self,
        backbone: Backend,
        users: Sequence[PreparedUser],
        make: Callable[[Backend], Preprocessor | None] = preprocessor_for,
    ) -> None:
        """``make``: gives None where frames cannot be prepared on the GPU, and says why itself."""
        self._backbone = backbone
        self._users = tuple(users)
        self._make = make
        self._used: Preprocessor | None = None
        self._ready: Preprocessor | None = None
        self._is_closed = False

    def follow(self) -> None:
        """The backbone's runtime may have changed: prepare for it. One thread at a time, any."""
        if self._is_wanted and self._used is None and self._ready is None and not self._is_closed:
            self._ready = self._make(self._backbone)

    def settle(self) -> None:
        """Before a step, on its thread: users take up what was prepared, and leave what nobody reads any more."""
        if not self._is_wanted:
            self._drop()
        elif self._used is not None:
            self._forget_on(self._used)
        elif self._ready is not None:
            self._used, self._ready = self._ready, None
            self._hand_out(self._used)

    def close(self) -> None:
        """When no step runs any more; a second call does nothing."""
        self._is_closed = True
        self._drop()

    @property
    def _is_wanted(self) -> bool:
        return device_inference(self._backbone) is not None

    def _forget_on(self, preprocessor: Preprocessor) -> None:
        """A step whose scorer is another one has left its frames; a GPU that fails here is used by nobody any more."""
        try:
            preprocessor.forget()
        except EngineError as error:
            log.warning("frames are prepared on the CPU from now on: %s", error)
            self._drop()

    def _drop(self) -> None:
        if self._used is not None:
            self._hand_out(None)
        for preprocessor in (self._used, self._ready):
            if preprocessor is not None:
                with suppress(EngineError):  # a GPU that is lost frees nothing, and took the runtime with it
                    preprocessor.close()
        self._used = self._ready = None

    def _hand_out(self, preprocessor: Preprocessor | None) -> None:
        for user in self._users:
            user.prepare_on(preprocessor)
