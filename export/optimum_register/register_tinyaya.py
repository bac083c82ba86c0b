"""Adds `export tinyaya` to optimum-cli, which finds this file in `optimum.commands.register`.

Everything after the name goes to `tinyaya-export export`.
"""

import sys
from argparse import REMAINDER, ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand


class TinyAyaExportCommand(BaseOptimumCLICommand):  # type: ignore[misc]
    """`optimum-cli export tinyaya SRC --out DIR ...`."""

    COMMAND = CommandInfo(
        name="tinyaya", help="Export Tiny Aya (Cohere2) to a bundle for phones and boards."
    )

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Take all arguments as they are."""
        parser.add_argument(
            "arguments",
            nargs=REMAINDER,
            help="SRC --out DIR and options, as for tinyaya-export export.",
        )

    def run(self) -> None:
        """Run tinyaya-export."""
        from tinyaya.export.cli.app import main

        sys.argv = ["tinyaya-export", "export", *self.args.arguments]
        main()


REGISTER_COMMANDS = [(TinyAyaExportCommand, ExportCommand)]
