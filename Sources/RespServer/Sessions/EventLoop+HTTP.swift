// From a parsed HTTP request to its route: whether it may be served, limiter calls into the batch, everything else
// answered at once.

import HTTP
import LimiterEngine
import RESP
import System

extension EventLoop {
    /// Answers the request, or adds it to the batch. False when the connection was suspended instead.
    func dispatch(_ request: HTTPRequest, _ connection: Connection, _ session: HTTPSession) -> Bool {
        var exchange = HTTPExchange(
            request: request, parameters: HTTPPathParameters(), connection: connection, loop: self,
            note: note(on: request))
        let found = HTTPRouter.find(request, on: session.listener)
        guard case .route(let number, let parameters) = found else {
            decideBatch()
            answerWithoutRoute(found, exchange, session)
            return true
        }
        exchange = HTTPExchange(
            request: request, parameters: parameters, connection: connection, loop: self, note: exchange.note)
        exchange.note.route = UInt8(number)
        let route = RouteTable.all[number]
        if session.listener == .admin, let problem = HTTPGuard.refusal(of: exchange, route) {
            decideBatch()
            answer(problem, exchange)
            return true
        }
        switch admit(route, number, connection) {
        case .run: break
        case .suspend:
            decideBatch()
            suspend(connection)
            return false
        case .refuse(let problem):
            decideBatch()
            answer(problem, exchange)
            return true
        }
        switch route.action {
        case .gateway(let action):
            guard action.isBatched || !isTurnSpent else {
                deferCommands(of: connection)
                return false
            }
            enqueue(action, &exchange, session)
            return true
        case .admin(let action):
            guard !isTurnSpent else {
                deferCommands(of: connection)
                return false
            }
            decideBatch()
            action.answer(&exchange)
            finish(exchange.note, connection)
            flushReplies()
            return true
        }
    }

    private func note(on request: HTTPRequest) -> HTTPNote {
        var note = HTTPNote(
            began: isTimestampFresh ? lastTimestamp : SteadyInstant.now(), route: UInt8(RouteTable.all.count),
            method: request.method)
        if request.method == .head { note.flags.insert(.isHead) }
        if request.isVersion10 { note.flags.insert(.isVersion10) }
        if !request.keepsAlive { note.flags.insert(.closes) }
        return note
    }

    // MARK: Limiter calls

    private func enqueue(_ action: GatewayAction, _ exchange: inout HTTPExchange, _ session: HTTPSession) {
        if batch.room == 0 { decideBatch() }
        do throws(HTTPProblem) {
            switch try action.read(&exchange) {
            case .call: add(1, .http, exchange, session)
            case .group(let count): add(count, .httpGroup, exchange, session)
            case .waits: buffers.handled &+= 1
            case .answered:
                // The response is filled: a batch decided now would overwrite it.
                precondition(batch.count == 0, "answered before earlier calls were decided")
                buffers.handled &+= 1
                finish(exchange.note, exchange.connection)
                flushReplies()
                return
            }
        } catch {
            decideBatch()
            answer(error, exchange)
        }
    }

    private func add(_ count: Int, _ form: Batch.ReplyForm, _ exchange: HTTPExchange, _ session: HTTPSession) {
        let command = http.commands[Int(exchange.note.route)]
        session.noteCommand(command)
        buffers.handled &+= 1
        http.notes[batch.count] = exchange.note
        batch.add(
            count,
            Batch.Note(
                owner: Int32(truncatingIfNeeded: buffers.servedCount &- 1), command: command, form: form,
                version: .resp2))
        if exchange.note.flags.contains(.closes) { exchange.connection.flags.insert(.closeAfterReply) }
    }

    // MARK: Admission

    private enum HTTPAdmission {
        case run
        case suspend
        case refuse(HTTPProblem)
    }

    @inline(__always)
    private func admit(_ route: HTTPRoute, _ number: Int, _ connection: Connection) -> HTTPAdmission {
        let command = http.commands[number]
        if command < 0 || Admission.isOnFastPath(connection.word, state) { return .run }
        return admitSlowly(commands.flat[Int(command)])
    }

    /// Why a command may not run in the current state of the server; nil if it may, or has to wait.
    func refusal(of command: CommandReference) -> HTTPProblem? {
        if case .refuse(let problem) = admitSlowly(command) { problem } else { nil }
    }

    @inline(never)
    private func admitSlowly(_ command: CommandReference) -> HTTPAdmission {
        refreshState()
        let facts = RequestFacts(command.flags, isWrite: command.flags.contains(.write))
        switch Admission.decide(facts, SessionFacts(), state) {
        case .run, .queue: return .run
        case .suspend: return .suspend
        case .refuse(let refusal):
            let text = text(of: refusal, command)
            noteRejection(text)
            commandStatistics.reject(command.index)
            return .refuse(HTTPProblem(refusal.problemKind, text))
        }
    }

    // MARK: Refusals

    /// Answers with a problem.
    ///
    /// - Precondition: The batch is empty.
    private func answer(_ problem: HTTPProblem, _ exchange: HTTPExchange) {
        buffers.handled &+= 1
        http.response.begin(problem)
        if problem.status == .unavailable { http.response.field("Retry-After", 1) }
        if problem.status == .unauthorized { http.response.field("WWW-Authenticate", "Bearer") }
        GatewayCorrelation.addField(exchange.note, to: http.response)
        finish(exchange.note, exchange.connection)
    }

    private func answerWithoutRoute(_ outcome: HTTPRouter.Outcome, _ exchange: HTTPExchange, _ session: HTTPSession) {
        let request = exchange.request
        switch outcome {
        case .route: preconditionFailure("there is a route")
        case .noPath: answer(HTTPProblem(.notFound, "there is no route \(request.path.shown)"), exchange)
        case .unknownMethod:
            answer(HTTPProblem(.notImplemented, "the method \(request.methodToken.shown) is not known"), exchange)
        case .noMethod:
            buffers.handled &+= 1
            http.response.begin(
                HTTPProblem(.methodNotAllowed, "\(request.methodToken.shown) is not allowed for \(request.path.shown)"))
            http.response.field("Allow", text: HTTPRouter.allow(request.path, on: session.listener))
            finish(exchange.note, exchange.connection)
        }
    }

    /// Answers input that is not a request that can be served, and closes the connection afterwards.
    func refuse(_ refusal: HTTPRefusal, _ connection: Connection, _ session: HTTPSession) {
        decideBatch()
        counters.add(.protocolErrors, 1)
        buffers.handled &+= 1
        http.response.begin(HTTPProblem(refusal.status, refusal.detail))
        let note = HTTPNote(
            began: SteadyInstant.now(), route: UInt8(RouteTable.all.count), method: .other, flags: .closes)
        finish(note, connection)
        connection.flags.insert(.lingers)
        server.log.verbose(
            "closing client: not a valid HTTP request",
            ["id": "\(connection.id)", "addr": "\(connection.peerAddress)", "error": "\(refusal.detail)"])
    }

    // MARK: Answers

    /// Appends the response to the replies of the connection being served, and counts the request.
    func finish(_ note: HTTPNote, _ connection: Connection) {
        if note.flags.contains(.closes) { connection.flags.insert(.closeAfterReply) }
        append(http.response, note)
        endReply()
    }

    /// Appends the response to the replies, and counts the request.
    func append(_ response: HTTPResponse, _ note: HTTPNote) {
        let persistence: HTTPResponse.Persistence =
            note.flags.contains(.closes) ? .close : note.flags.contains(.isVersion10) ? .keepAlive : .open
        reply.append(response.formatHead(at: unixSeconds, persistence, common: HTTPLoop.commonFields).buffer)
        if !note.flags.contains(.isHead), response.status != .noContent { reply.append(response.body.bytes) }
        lastTimestamp = SteadyInstant.now()
        isTimestampFresh = true
        http.statistics.count(note, response.status, took: lastTimestamp - note.began)
    }
}

extension HTTPLoop {
    /// Lines that every response has.
    static var commonFields: StaticString { "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n" }
}

extension Refusal {
    /// The kind of problem that clients over HTTP get.
    fileprivate var problemKind: ProblemKind {
        switch self {
        case .loading: .loading
        case .diskFailed: .diskFailed
        case .readOnly: .readOnly
        case .stale, .lacksState: .stale
        case .lacksReplicas: .lacksReplicas
        case .unauthenticated, .inTransaction, .subscribed: .unavailable
        }
    }
}
