// The executable: arguments in, exit code out. Everything else is in RespServer.

import Glibc
import ProgramArguments
import RespServer

do throws(ProgramArgumentsError) {
    exit(Escapement.run(arguments: try ProgramArguments.read()))
} catch {
    exit(Escapement.refuse(error.text))
}
