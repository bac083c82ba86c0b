package org.tinyaya.demo.chat

import org.tinyaya.demo.model.Generation
import org.tinyaya.demo.model.StopReason

/** A state and an event in, the next state out; nothing else changes a state. */
object ChatReducer {
    fun reduce(state: ChatState, event: ChatEvent): ChatState =
        when (event) {
            is ChatEvent.Opened ->
                state.copy(bundle = event.bundle, languages = event.languages, phase = Phase.LOADING, problem = null)
                    .withKnownLanguage()
            is ChatEvent.Loaded -> state.copy(phase = Phase.READY, contextTokens = event.contextTokens)
            is ChatEvent.Unloaded -> state.withoutHalfAnswer().copy(phase = Phase.NO_MODEL, problem = event.problem ?: state.problem)
            is ChatEvent.Failed -> failed(state, event)
            is ChatEvent.Asked -> asked(state, event.text)
            is ChatEvent.RetryAsked -> retried(state)
            is ChatEvent.StopAsked -> if (state.isBusy) state.copy(phase = Phase.STOPPING) else state
            is ChatEvent.PromptRead -> promptRead(state, event)
            is ChatEvent.Said -> said(state, event.piece)
            is ChatEvent.Answered -> answered(state, event.generation)
            is ChatEvent.Unanswered -> state.copy(phase = Phase.READY)
            is ChatEvent.Cleared ->
                if (state.isBusy) state else state.copy(messages = emptyList(), usedTokens = 0, unseenMessages = 0, problem = null)
            is ChatEvent.SettingsChanged -> state.copy(settings = event.settings).withKnownLanguage()
            is ChatEvent.HeatChanged -> state.copy(heat = event.heat)
            is ChatEvent.ProblemFound -> state.copy(problem = event.problem)
            is ChatEvent.ProblemSeen -> state.copy(problem = null)
        }

    private fun failed(state: ChatState, event: ChatEvent.Failed): ChatState {
        val phase = if (event.hasModel) Phase.READY else Phase.NO_MODEL
        return state.withoutHalfAnswer().copy(phase = phase, problem = Problem.of(event.error))
    }

    private fun asked(state: ChatState, text: String): ChatState {
        if (!state.canAsk || text.isBlank()) return state
        return state.reading(state.messages + ChatMessage(Speaker.USER, text.trim()))
    }

    private fun retried(state: ChatState): ChatState {
        if (!state.canRetry) return state
        val last = state.messages.indexOfLast { it.speaker == Speaker.USER }
        return state.reading(state.messages.take(last + 1))
    }

    private fun ChatState.reading(messages: List<ChatMessage>) =
        copy(messages = messages, phase = Phase.READING, promptDone = 0, promptTotal = 0, problem = null)

    private fun promptRead(state: ChatState, event: ChatEvent.PromptRead) =
        state.copy(
            promptDone = event.done,
            promptTotal = event.total,
            usedTokens = event.done,
            unseenMessages = event.unseenMessages,
        )

    private fun said(state: ChatState, piece: String): ChatState {
        if (!state.isBusy) return state
        val last = state.messages.lastOrNull()
        val messages =
            if (last?.speaker == Speaker.MODEL) {
                state.messages.dropLast(1) + last.copy(text = last.text + piece)
            } else {
                state.messages + ChatMessage(Speaker.MODEL, piece)
            }
        val phase = if (state.phase == Phase.READING) Phase.ANSWERING else state.phase
        return state.copy(messages = messages, phase = phase, usedTokens = state.usedTokens + 1)
    }

    private fun answered(state: ChatState, generation: Generation): ChatState {
        val figures = AnswerFigures(generation.generatedTokens, generation.decodeTokensPerSecond, generation.firstTokenMs)
        val answer = ChatMessage(Speaker.MODEL, generation.text, generation.stopReason, figures)
        val before = state.messages.dropLastWhile { it.speaker == Speaker.MODEL }
        return state.copy(
            messages = if (generation.text.isEmpty() && generation.stopReason == StopReason.STOPPED) before else before + answer,
            phase = Phase.READY,
            usedTokens = generation.promptTokens + generation.generatedTokens,
        )
    }

    /** An answer that broke off is kept if it says something. */
    private fun ChatState.withoutHalfAnswer(): ChatState {
        val last = messages.lastOrNull()
        val isHalf = isBusy && last?.speaker == Speaker.MODEL && last.ended == null
        return if (isHalf) copy(messages = messages.dropLast(1) + last.copy(ended = StopReason.STOPPED)) else this
    }

    private fun ChatState.withKnownLanguage(): ChatState =
        if (settings.language == null || languages.isEmpty() || settings.language in languages) {
            this
        } else {
            copy(settings = settings.copy(language = null))
        }
}
