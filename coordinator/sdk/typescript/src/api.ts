// Generated from coordinator/gateway/openapi.json by "npm run types". Change that, not this.

export interface paths {
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whether this gateway lives.
         * @description Anybody may ask it.
         */
        get: operations["healthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whether this gateway can serve anybody.
         * @description Anybody may ask it.
         */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Who did what, the latest first.
         * @description Needs the role `operate`.
         */
        get: operations["audit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/coordinator": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How the coordinator does.
         * @description Needs the role `submit` or `read` or `operate`.
         */
        get: operations["coordinator"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/coordinator/accept-loss": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Lets a coordinator that is held serve, though its log has lost what others have seen.
         * @description Needs the role `operate`.
         */
        post: operations["acceptLoss"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/coordinator/backup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Copies all that the coordinator keeps into a folder on its machine.
         * @description Needs the role `operate`.
         */
        post: operations["backup"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/coordinator/drain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Takes no new transactions, finishes those that are open, and ends.
         * @description Needs the role `operate`.
         */
        post: operations["drain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/coordinator/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stops driving the transactions that the coordinator recovered from its log.
         * @description Needs the role `operate`.
         */
        post: operations["pause"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/coordinator/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Drives them on again.
         * @description Needs the role `operate`.
         */
        post: operations["resume"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/coordinators": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How the coordinators do that are behind this gateway.
         * @description Needs the role `submit` or `read` or `operate`.
         */
        get: operations["coordinators"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What happens to all transactions, as it happens.
         * @description Needs the role `read` or `operate`.
         */
        get: operations["events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * This description.
         * @description Anybody may ask it.
         */
        get: operations["openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/participants": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The participants, as the coordinator sees them.
         * @description Needs the role `submit` or `read` or `operate`.
         */
        get: operations["participants"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/participants/{participant}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The events that a participant has published, from the first that is kept, and then those that come.
         * @description Needs the role `read`.
         */
        get: operations["published"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Lists transactions.
         * @description Needs the role `read` or `operate`.
         */
        get: operations["list"];
        put?: never;
        /**
         * Carries a transaction out, and waits for its outcome.
         * @description Needs the role `submit`.
         */
        post: operations["submit"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * How a transaction stands, with its history.
         * @description Needs the role `read` or `operate`.
         */
        get: operations["get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/begin": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begins an open saga: steps join it while it goes on, until it is closed or cancelled. Whoever knows the id goes on with it, unless it is owner only.
         * @description Needs the role `submit`.
         */
        post: operations["begin"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Aborts a transaction that is not decided, and waits until it is over; a saga until all is undone.
         * @description Needs the role `submit` or `operate`.
         */
        post: operations["cancel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/close": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Closes an open saga: completes its steps, and waits until that is done. Nothing is undone from then on.
         * @description Needs the role `submit`.
         */
        post: operations["close"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What happens to a transaction, as it happens, until it has ended.
         * @description Needs the role `read` or `operate`.
         */
        get: operations["eventsOfOne"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/forget": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Gives a transaction up: what is not known of it is recorded as such, for good.
         * @description Needs the role `operate`.
         */
        post: operations["forget"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/steps/{step}/join": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Lets a step join an open saga, and waits for nothing but its record. What has no action is then for the caller to do.
         * @description Needs the role `submit`.
         */
        post: operations["join"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/steps/{step}/resolve": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Ends a step of a saga that is not settled.
         * @description Needs the role `operate`.
         */
        post: operations["resolveStep"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{id}/steps/{step}/run": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Lets a step join an open saga, has its action run, and waits for its result. To run the same again tells the same.
         * @description Needs the role `submit`.
         */
        post: operations["run"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description The reason of an abort. */
        Abort: {
            /** @description The reason in words, for people. */
            message: string;
            /** @description The participant that caused it, if one did. */
            participant: string | null;
            /** @description A word that stays the same. */
            reason: string;
            /** @description The same work may succeed under a new id. */
            worth_retrying: boolean;
        };
        /** @description An operator's word that what the coordinator's log has lost is lost. */
        Accept: {
            reason: string;
            /**
             * @description The name of a caller that has no identity.
             * @default
             */
            who?: string;
            /**
             * @description Participants that are not waited for.
             * @default []
             */
            without?: string[];
        };
        /** @description The coordinator after it. */
        Accepted: {
            /** Format: uint32 */
            committed: number;
            /** Format: uint32 */
            epoch: number;
            /** Format: uint32 */
            held: number;
        };
        /** @description A loss that an operator has accepted. */
        AcceptedLoss: {
            at: string;
            /** Format: uint32 */
            listed: number;
            more: boolean;
            participant: string | null;
            put_back: string;
            reason: string;
            who: string;
        };
        /** @description How far a transaction is applied at its participants. */
        Applied: {
            /** @description It is in effect at every participant. */
            everywhere: boolean;
            /**
             * @description The last event that it has published, by participants: what a reader of that one's events has to have seen to have seen all of them.
             *     Of one that is missing, its events have the transaction's id as their correlation.
             */
            tokens: {
                [key: string]: string;
            };
        };
        /** @description Entries of an audit record, the latest first. */
        Audit: {
            /** @description The place at which the rest begins, if there may be more. */
            cursor: string | null;
            entries: components["schemas"]["AuditLine"][];
            more: boolean;
        };
        /** @description One entry: the caller, the call, its transactions, the address it came from, and the reason if it was refused. */
        AuditLine: {
            about: string;
            /** @description Empty where it counts refused calls of several kinds. */
            action: string;
            address: string | null;
            at: string;
            /**
             * Format: uint64
             * @description The calls that it stands for.
             */
            count: number;
            note: string;
            /** Format: uint64 */
            number: number;
            /** @description The reason, a word of the catalogue; absent: it was done. */
            refused: string | null;
            /** @description The gateway that asked on its behalf. */
            through: string | null;
            txs: string[];
            /** @description The identity; absent of callers without one. */
            who: string | null;
        };
        /** @description A reaction, or the end of a time limit, that a choreographed saga waits for. */
        Awaited: {
            detail: string;
            /** @description The type of the event that it has yet to deal with. */
            event: string;
            participant: string;
            reaction: string;
            since: string;
        };
        Branch: {
            /** @description The last refusal by its participant, while a step with no way but on is refused. */
            detail: string | null;
            outcome: string | null;
            participant: string;
            state: components["schemas"]["BranchState"] | null;
            /** @description Of a saga. */
            step: string | null;
        };
        /**
         * @description How a branch or a step stands. There may be more in later versions.
         * @enum {string}
         */
        BranchState: "awaited" | "prepared" | "read-only" | "read-only-left" | "committed" | "refused" | "aborted" | "heuristically-committed" | "heuristically-aborted" | "unknown" | "waiting" | "in-doubt" | "acting" | "compensating" | "waiting-to-retry" | "stuck" | "resolving" | "done" | "done-with-locks" | "undone" | "skipped" | "joined" | "completing" | "completed";
        /**
         * @description The question that is asked when an open saga's time is over, instead of turning it back. Done closes it, a refusal turns it back,
         *     and anything else has it asked again.
         */
        CheckBack: {
            ask: components["schemas"]["Work"];
            /** @description The participant that is asked. */
            at: string;
        };
        Choreographed: {
            awaited: components["schemas"]["Awaited"][];
            /** @description `running`, `undoing`, `done`, `undone`, `expired`, `mixed`, `parked`, `quiet` or `unknown`. */
            standing: string;
            why: string | null;
        };
        Completions: ("together" | "as-joined" | "reversed") | "two-phase";
        Coordinator: {
            /** Format: uint64 */
            damaged: number;
            /** Format: uint32 */
            epoch: number;
            /** @description Why it serves nobody. */
            held_because: string[];
            /** @description None: it is not told to this caller. */
            id: string | null;
            losses: components["schemas"]["AcceptedLoss"][];
            /** Format: uint64 */
            max_open: number;
            name: string;
            /** Format: uint64 */
            open: number;
            participants: components["schemas"]["Participant"][];
            phase: components["schemas"]["Stage"] | null;
            refusing_work_because: string | null;
            /** Format: uint64 */
            unacknowledged: number;
        };
        /** @description The coordinators behind a gateway. */
        Coordinators: {
            coordinators: components["schemas"]["OneOf"][];
        };
        Event: {
            at: string;
            /** Format: uint32 */
            count: number;
            detail: string;
            event: components["schemas"]["Kind"] | null;
            participant: string | null;
        };
        /** @description The folder of a backup, by its whole path on the coordinator's machine. */
        Folder: {
            folder: string;
        };
        /** @description A step that joins an open saga: an action, a compensation, a completion, or some of these. */
        JoiningStep: {
            /** @description The participant. */
            at: string;
            attempt_timeout?: string | null;
            /**
             * Format: uint32
             * @description The number of times that it is tried.
             */
            attempts?: number | null;
            /** @description The work that completes it once the saga is closed. */
            complete?: components["schemas"]["Work"] | null;
            /** @description The work to be done now. If there is none, it is the caller's to do, after the step has joined. */
            do?: components["schemas"]["Work"] | null;
            first_pause?: string | null;
            max_pause?: string | null;
            /** @description The work that undoes it if the saga is turned back. An action needs one. */
            undo?: components["schemas"]["Work"] | null;
        };
        /**
         * @description What happened. There may be more in later versions.
         * @enum {string}
         */
        Kind: "begun" | "chosen" | "recovered" | "sent" | "voted" | "confirmed" | "decided" | "logged" | "finished" | "inquired" | "earlier-attempt" | "deadline-passed" | "retried" | "forgotten" | "acted" | "compensated" | "unanswered" | "compensating" | "stuck" | "held-up" | "resolved" | "closed" | "left-out" | "unusable" | "operator" | "joined" | "close-asked" | "completed" | "kept" | "published" | "refused" | "missed";
        /**
         * @description Two-phase commit, where it is not said; a saga; or the coordinator chooses.
         * @enum {string}
         */
        Mode: "two-phase" | "saga" | "auto";
        /** @description One of them. */
        OneOf: {
            /** @description The address at which the gateway calls it. */
            address: string;
            /** @description How it does, if it answers. */
            coordinator: components["schemas"]["Coordinator"] | null;
            /** @description Why that is not known. */
            error: string | null;
            /** @description Its id, as far as the gateway knows it. */
            id: string | null;
        };
        /** @description The terms on which an open saga is begun. */
        Opening: {
            check_back?: components["schemas"]["CheckBack"] | null;
            /** @description The way in which its steps are completed; else all at once. */
            completions?: components["schemas"]["Completions"] | null;
            /** @description The time after which it is turned back unless it is closed before, like `10m`; else the coordinator's own default. */
            deadline?: string | null;
            /**
             * @description True to take steps and its end from nobody but whoever begins it; operators may cancel it all the same.
             * @default false
             */
            owner_only?: boolean;
            /**
             * @description The id of the open saga that it is a part of: closed and cancelled with that one. It may be closed before; then its steps are
             *     completed at once, and should the other be cancelled, what was completed is undone.
             */
            parent?: string | null;
        };
        /** @description The word of an operator. */
        Order: {
            reason: string;
            /**
             * @description The name of a caller that has no identity.
             * @default
             */
            who?: string;
        };
        /** @description How a transaction stands. */
        Outcome: {
            /** @description The reason why it aborted; `null` unless it did. */
            abort: components["schemas"]["Abort"] | null;
            /** @description How far it is applied; for whoever has waited for that. */
            applied?: components["schemas"]["Applied"] | null;
            /**
             * @description What each participant, or each step of a saga, told: `{"values": [...]}`, one for each piece of work, or
             *     `{"raw": "0x…"}` of one that speaks a language of its own.
             */
            results: {
                [key: string]: components["schemas"]["Results"];
            };
            state: components["schemas"]["State"];
            /** @description While it is pending: the step that an operator has to end before it goes on. */
            stuck: components["schemas"]["Stuck"] | null;
            tx: string;
        };
        Participant: {
            address: string;
            connected: boolean;
            /** Format: uint64 */
            connection_attempts: number;
            last_error: string | null;
            leaving: boolean;
            name: string;
            /** Format: uint64 */
            open: number;
            /** Format: uint64 */
            queued: number;
            resource: string;
            since: string;
            unnumbered: boolean;
        };
        /** @description The participants of a coordinator. */
        Participants: {
            participants: components["schemas"]["Participant"][];
        };
        /**
         * @description How far a transaction is. There may be more in later versions.
         * @enum {string}
         */
        Phase: "preparing" | "confirming" | "logging-commit" | "committing" | "logging-delegation" | "delegated" | "settling" | "ending-committed" | "ending-aborted" | "falling-back" | "ended" | "beginning" | "running" | "stuck" | "logging-compensation" | "compensating" | "closing" | "ending" | "unusable" | "open" | "logging-close" | "completing" | "closed" | "quiet" | "unknown";
        /** @description The form in which it is told. */
        Problem: {
            /** @description The stable word of the reason. */
            code: string;
            /** @description The problem in this case, its cause, and the way out. */
            detail: string;
            /** @description The code with which the participant refused the step. */
            refusal?: string | null;
            /** @description The very same request may come back, and may then be carried out. */
            retryable: boolean;
            /** Format: uint16 */
            status: number;
            /** @description The meaning of the code. */
            title: string;
            /** @description The transaction that it is about. */
            tx?: string | null;
            /** @description `urn:undoubt:problem:` and the code. */
            type: string;
        };
        /** @description An event that a participant has published. */
        PublishedEvent: {
            /** @description The id of the event that led to this one. */
            caused_by?: string | null;
            content_type: string;
            /** @description The id of the transaction or of the choreographed saga. */
            correlation: string;
            /** @description JSON where that is its content type; else text, or `0x` and hexadecimal digits. */
            data: unknown;
            /** @description The incarnation of the log that published it, and the position, joined by `-`. No other event has it. */
            id: string;
            key: string;
            /**
             * Format: uint16
             * @description Events with one key are in one partition, and in order there.
             */
            partition: number;
            /**
             * Format: uint64
             * @description Its place in the participant's log, from 1 without gaps over all topics.
             */
            position: number;
            /**
             * Format: uint64
             * @description The position of the event before it in its topic's partition; 0: it is the first.
             */
            previous: number;
            published_at: string;
            schema?: string;
            topic: string;
            type: string;
            /**
             * Format: uint64
             * @description The version of its entity from then on, of a topic that is sourced.
             */
            version?: number | null;
        };
        /** @enum {string} */
        Resolution: "retry" | "skip" | "done";
        /** @description An operator's decision about a step. */
        Resolve: {
            reason: string;
            resolution: components["schemas"]["Resolution"];
            /** @default  */
            who?: string;
        };
        /** @description One value for each piece of work, one result for each call of a procedure, the answer of an HTTP service, or bytes of a format of the participant's own. */
        Results: {
            calls?: unknown[];
            http?: Record<string, unknown>;
            raw?: string;
            values?: (string | null)[];
        };
        /**
         * @description How far a coordinator is. There may be more in later versions.
         * @enum {string}
         */
        Stage: "recovering" | "held" | "recovery-paused" | "serving" | "draining";
        State: ("pending" | "committed" | "aborted") | "closed";
        /** @description A step of a saga. */
        Step: {
            /** @description Steps that have to be done before; without it, the one before this in the list. */
            after?: string[] | null;
            /** @description The participant. */
            at: string;
            attempt_timeout?: string | null;
            /**
             * Format: uint32
             * @description The number of times that it is tried.
             */
            attempts?: number | null;
            do: components["schemas"]["Work"];
            first_pause?: string | null;
            max_pause?: string | null;
            name: string;
            /**
             * @description The point of no return: from it on there is nothing to undo.
             * @default false
             */
            pivot?: boolean;
            undo?: components["schemas"]["Work"] | null;
            /**
             * @description Steps whose results it uses.
             * @default []
             */
            uses?: string[];
        };
        /** @description The standing of a step that has joined an open saga. */
        StepStanding: {
            /** @description The results that its action handed back, once that is done. */
            results: components["schemas"]["Results"] | null;
            /** @description joined (its action is the caller's to do), running, done, skipped (by an operator) */
            state: string;
            step: string;
            tx: string;
        };
        /** @description A step of a saga that was refused for good as often as its policy allows, with no other way. */
        Stuck: {
            /** @description action, compensation */
            direction: string;
            participant: string;
            /** @description What the participant said last. */
            refusal: string;
            step: string;
        };
        /** @description A transaction: branches, or steps where it is a saga. */
        Submission: {
            /** @description The work of each participant, by its name. */
            branches?: {
                [key: string]: components["schemas"]["Work"];
            } | null;
            /** @description The time for which the coordinator tries to reach a commit, like `500ms`. */
            deadline?: string | null;
            /** @description 1 to 64 bytes of text, or `0x` and hexadecimal digits. Without one, a new one is drawn; then a repetition is another transaction. */
            id?: string | null;
            mode?: components["schemas"]["Mode"] | null;
            /**
             * @description The keys under which participants keep its outcome, by the names of participants that have work in it.
             * @default {}
             */
            outcome_at?: {
                [key: string]: string;
            };
            /** @description The steps that run in this order, and are undone in reverse if one fails. */
            steps?: components["schemas"]["Step"][] | null;
            /**
             * @description True to have auto choose two-phase commit or nothing.
             * @default false
             */
            two_phase_only?: boolean;
            /**
             * Format: uint64
             * @description Its value, for auto. The coordinator may be set to let transactions of a high value go through two-phase commit alone.
             */
            value?: number | null;
        };
        /** @description How a transaction stands. */
        Transaction: {
            /** @description The reason why it aborted; `null` unless it did. */
            abort: components["schemas"]["Abort"] | null;
            /** @description How far it is applied; for whoever has waited for that. */
            applied?: components["schemas"]["Applied"] | null;
            attempt_number: string;
            begun_at: string;
            branches: components["schemas"]["Branch"][];
            /** @description The sagas that are nested in it and have not ended. */
            children?: string[];
            /** @description Set where an observer tells it: no coordinator carries it out. */
            choreographed?: components["schemas"]["Choreographed"] | null;
            ended_at: string | null;
            heuristic_damage: boolean;
            history: components["schemas"]["Event"][];
            /** @description The open saga that it is nested in. */
            parent?: string | null;
            /** @description An operator has paused recovery, and it waits. */
            paused: boolean;
            phase: components["schemas"]["Phase"] | null;
            /**
             * @description What each participant, or each step of a saga, told: `{"values": [...]}`, one for each piece of work, or
             *     `{"raw": "0x…"}` of one that speaks a language of its own.
             */
            results: {
                [key: string]: components["schemas"]["Results"];
            };
            /** @description Branches and results are named by its steps. */
            saga: boolean;
            state: components["schemas"]["State"];
            /** @description While it is pending: the step that an operator has to end before it goes on. */
            stuck: components["schemas"]["Stuck"] | null;
            tx: string;
            unusable_because?: string | null;
        };
        Transactions: {
            /** @description For `--after`, if there is more. */
            cursor: string | null;
            more: boolean;
            /** @description Their results are left out: `status` tells those of one. */
            transactions: components["schemas"]["Transaction"][];
        };
        /** @enum {string} */
        WantedFilter: "all" | "open" | "unacknowledged" | "ended" | "damaged" | "stuck";
        /** @enum {string} */
        WantedState: "pending" | "committed" | "aborted";
        /** @description One line of `watch`: an event, or a gap. */
        WatchLine: {
            at?: string;
            /** Format: uint32 */
            count?: number;
            /** @description For `--after`: a watch that goes on behind this event. */
            cursor: string | null;
            detail?: string;
            event?: components["schemas"]["Kind"] | null;
            /** @description Why the connection broke. It is made anew. */
            interrupted: string | null;
            /** Format: uint64 */
            lost: number;
            participant?: string | null;
            /** @description The coordinator was started anew, and what it had not told before is not known. */
            restarted: boolean;
            tx: string | null;
        };
        /**
         * @description A list of pieces of work, each as text like `add alice -10 floor=0` or as an object like `{"add": {"key": "alice", "delta": -10}}`; or work in a format of the participant's own.
         * @example [
         *       "add alice -10 floor=0",
         *       "get alice"
         *     ]
         */
        Work: (string | Record<string, unknown>)[] | {
            /** @description `0x` and hexadecimal digits, or base64. */
            raw: string;
        };
    };
    responses: {
        /** @description It was not done, or that is not known; `code` says why, in a word that stays the same. */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    healthz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It lives. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A coordinator serves, and where there are several all their ids are known. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    audit: {
        parameters: {
            query?: {
                /** @description The cursor with which an earlier answer ended. */
                after?: string;
                /** @description The coordinator whose record it is, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
                /** @description The most entries to list, up to 1,000; else 100. */
                limit?: number;
                /** @description True for refused calls alone. */
                refused?: boolean;
                /** @description The transaction that the entries are about; else any. */
                tx?: string;
                /** @description The identity whose entries are listed; else any. */
                who?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Entries of the audit record. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Audit"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    coordinator: {
        parameters: {
            query?: {
                /** @description The coordinator, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How it does. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Coordinator"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    acceptLoss: {
        parameters: {
            query?: {
                /** @description The coordinator, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Accept"];
            };
        };
        responses: {
            /** @description How it serves. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    backup: {
        parameters: {
            query?: {
                /** @description The coordinator, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Folder"];
            };
        };
        responses: {
            /** @description It is done. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    drain: {
        parameters: {
            query?: {
                /** @description The coordinator, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It drains. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    pause: {
        parameters: {
            query?: {
                /** @description The coordinator, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is done. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    resume: {
        parameters: {
            query?: {
                /** @description The coordinator, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is done. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    coordinators: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How each of them does. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Coordinators"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    events: {
        parameters: {
            query?: {
                /** @description The cursor behind which the stream goes on, like `Last-Event-ID`; for those who cannot set headers. */
                after?: string;
                /** @description The coordinator whose events they are, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events. `id` is the cursor with which another stream goes on, as `Last-Event-ID`; `event` what happened, or `lost`, `restarted`, `interrupted`, `failed`, `end`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OpenAPI 3.1. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": unknown;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    participants: {
        parameters: {
            query?: {
                /** @description The coordinator, by its id; it may be left out where there is one behind this gateway. */
                coordinator?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The participants. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Participants"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    published: {
        parameters: {
            query?: {
                /**
                 * @description The id of the event behind which the stream begins, like `Last-Event-ID`, or a position alone; else the first that is kept. With an
                 *     id it is noticed if the participant was put back from an older copy.
                 */
                after?: string;
                /** @description The key that they have: text, or `0x` and hexadecimal digits; else any. */
                key?: string;
                /** @description The most events; else no bound. */
                limit?: number;
                /** @description The topic, or several separated by commas; else all. */
                topic?: string;
                /** @description True to end with the last event that there is now. */
                until_now?: boolean;
            };
            header?: never;
            path: {
                /** @description The name of a step. */
                participant: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events. `id` is the event's id, with which another stream goes on exactly, as `Last-Event-ID`; `event` its type, or `undoubt.end`, and `undoubt.failed` where the stream cannot go on, with a `code` of the problems. An `id` without `data` says that there is nothing for this reader up to there. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    list: {
        parameters: {
            query?: {
                /** @description The cursor with which an earlier answer ended. */
                after?: string;
                /** @description The coordinator whose transactions are listed, by its id; else all that are behind this gateway. */
                coordinator?: string;
                /** @description The kind of transactions to list, and their order; else all. */
                filter?: components["schemas"]["WantedFilter"];
                /** @description The text with which their ids begin. */
                id_prefix?: string;
                /** @description The most transactions to list, up to 1,000; else 100. */
                limit?: number;
                /** @description The least time since they were begun, like `5m`. */
                older_than?: string;
                /** @description The participant at which they have a branch or a step. */
                participant?: string;
                /** @description The state of the transactions to list; else any. */
                state?: components["schemas"]["WantedState"];
                /** @description The longest time since they were begun. */
                younger_than?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Those that fit, without their histories and results. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Transactions"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    submit: {
        parameters: {
            query?: {
                /**
                 * @description The time to wait, once it is decided, until it is applied everywhere, up to `60s`; the answer says then what events it has
                 *     published. Else it is not waited for.
                 */
                applied?: string;
                /** @description A URL that hears the outcome by a POST, at least once. */
                callback?: string;
                /** @description The time to wait for the outcome, up to `60s`; else 30 s. */
                wait?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Submission"];
            };
        };
        responses: {
            /** @description It is decided: committed or aborted. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            /** @description It is not decided yet. `Location` is the place to ask. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    get: {
        parameters: {
            query?: {
                /** @description The time to wait until it is decided, up to `60s`; else none. */
                wait?: string;
            };
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What is known of it. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Transaction"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    begin: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Opening"];
            };
        };
        responses: {
            /** @description It is open, and that is on record. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    cancel: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is over. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            /** @description It is being undone. `Location` is the place to ask. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    close: {
        parameters: {
            query?: {
                /**
                 * @description The time to wait then until it is applied everywhere, up to `60s`; the answer says what events it has published. Else it is not
                 *     waited for.
                 */
                applied?: string;
                /** @description The time to wait until it is over, up to `60s`; else 30 s. */
                wait?: string;
            };
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is over. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            /** @description Its steps are being completed. `Location` is the place to ask. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    eventsOfOne: {
        parameters: {
            query?: {
                /** @description The cursor behind which the stream goes on, like `Last-Event-ID`; for those who cannot set headers. */
                after?: string;
            };
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events. `id` is the cursor with which another stream goes on, as `Last-Event-ID`; `event` what happened, or `lost`, `restarted`, `interrupted`, `failed`, `end`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    forget: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Order"];
            };
        };
        responses: {
            /** @description It is done. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            default: components["responses"]["Problem"];
        };
    };
    join: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
                /** @description The name of a step. */
                step: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JoiningStep"];
            };
        };
        responses: {
            /** @description It has joined. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StepStanding"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    resolveStep: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
                /** @description The name of a step. */
                step: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Resolve"];
            };
        };
        responses: {
            /** @description How the saga stands then. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Outcome"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    run: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The transaction's id: text of 1 to 64 bytes, or `0x` and hexadecimal digits. */
                id: string;
                /** @description The name of a step. */
                step: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["JoiningStep"];
            };
        };
        responses: {
            /** @description It is in effect. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StepStanding"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
}
