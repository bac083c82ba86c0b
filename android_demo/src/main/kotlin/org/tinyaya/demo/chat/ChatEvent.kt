package org.tinyaya.demo.chat

import org.tinyaya.demo.bundle.RunError
import org.tinyaya.demo.model.Generation
import org.tinyaya.demo.model.Heat

/** All that can happen to a chat, from the user, the model or the phone: one flow. */
sealed interface ChatEvent {
    /** A bundle was chosen. */
    data class Opened(val bundle: String, val languages: List<String>) : ChatEvent

    data class Loaded(val contextTokens: Int) : ChatEvent

    data class Unloaded(val problem: Problem?) : ChatEvent

    data class Failed(val error: RunError, val hasModel: Boolean) : ChatEvent

    data class Asked(val text: String) : ChatEvent

    data object RetryAsked : ChatEvent

    data object StopAsked : ChatEvent

    data class PromptRead(val done: Int, val total: Int, val unseenMessages: Int) : ChatEvent

    data class Said(val piece: String) : ChatEvent

    data class Answered(val generation: Generation) : ChatEvent

    /** The answer was stopped before it began. */
    data object Unanswered : ChatEvent

    data object Cleared : ChatEvent

    data class SettingsChanged(val settings: ChatSettings) : ChatEvent

    data class HeatChanged(val heat: Heat) : ChatEvent

    data class ProblemFound(val problem: Problem) : ChatEvent

    data object ProblemSeen : ChatEvent
}
