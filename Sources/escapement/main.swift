// The executable: arguments in, exit code out. Everything else is RespServer's.

import Glibc
import RespServer

exit(Escapement.run(arguments: Array(CommandLine.arguments.dropFirst())))
