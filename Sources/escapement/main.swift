// The executable: arguments in, exit code out. Everything else is in RespServer.

import BuildFacts
import Glibc
import ProgramArguments
import RespServer

do throws(ProgramArgumentsError) {
    let build = BuildDescription(
        revision: String(cString: build_facts_revision()), compiler: String(cString: build_facts_compiler()))
    exit(Escapement.run(arguments: try ProgramArguments.read(), build: build))
} catch {
    exit(Escapement.refuse(error.text))
}
