package org.tinyaya.demo.chat

import org.tinyaya.demo.bundle.BundleError
import org.tinyaya.demo.bundle.ChangedFileError
import org.tinyaya.demo.bundle.ChatTemplateError
import org.tinyaya.demo.bundle.InvalidTextError
import org.tinyaya.demo.bundle.MissingFileError
import org.tinyaya.demo.bundle.PromptTooLongError
import org.tinyaya.demo.bundle.RunError
import org.tinyaya.demo.bundle.TooLargeError
import org.tinyaya.demo.bundle.VersionError
import org.tinyaya.demo.model.Heat
import org.tinyaya.demo.model.StopReason

/** Who said a message. */
enum class Speaker { USER, MODEL }

/** How long an answer took. */
data class AnswerFigures(val tokens: Int, val tokensPerSecond: Double, val firstTokenMs: Double)

/** One message; [ended] and [figures] only of whole answers. */
data class ChatMessage(
    val speaker: Speaker,
    val text: String,
    val ended: StopReason? = null,
    val figures: AnswerFigures? = null,
)

/** What the model is doing. */
enum class Phase { NO_MODEL, LOADING, READY, READING, ANSWERING, STOPPING }

/** What a prompt is made with; [language] is a code of the bundle's, null: the model chooses. */
data class ChatSettings(val systemPrompt: String = "", val language: String? = null, val isTranslation: Boolean = false)

/** What went wrong, for the user to read. */
enum class ProblemKind { TOO_LARGE, CHANGED, MISSING, VERSION, BROKEN, TOO_LONG, TEMPLATE, TEXT, HOT, MEMORY, CRASHED, OTHER }

/** A problem; [detail] is for a developer. */
data class Problem(val kind: ProblemKind, val detail: String) {
    companion object {
        fun of(error: RunError): Problem {
            val kind =
                when (error) {
                    is TooLargeError -> ProblemKind.TOO_LARGE
                    is ChangedFileError -> ProblemKind.CHANGED
                    is MissingFileError -> ProblemKind.MISSING
                    is VersionError -> ProblemKind.VERSION
                    is BundleError -> ProblemKind.BROKEN
                    is PromptTooLongError -> ProblemKind.TOO_LONG
                    is ChatTemplateError -> ProblemKind.TEMPLATE
                    is InvalidTextError -> ProblemKind.TEXT
                    else -> ProblemKind.OTHER
                }
            return Problem(kind, error.message.orEmpty())
        }
    }
}

/** All that the chat screen shows. */
data class ChatState(
    val bundle: String? = null,
    val languages: List<String> = emptyList(),
    val messages: List<ChatMessage> = emptyList(),
    val settings: ChatSettings = ChatSettings(),
    val phase: Phase = Phase.NO_MODEL,
    val promptDone: Int = 0,
    val promptTotal: Int = 0,
    val usedTokens: Int = 0,
    val contextTokens: Int = 0,
    val unseenMessages: Int = 0,
    val heat: Heat = Heat.NONE,
    val problem: Problem? = null,
) {
    val isBusy: Boolean get() = phase == Phase.READING || phase == Phase.ANSWERING || phase == Phase.STOPPING

    val canAsk: Boolean get() = phase == Phase.READY

    /** The last answer can be asked for again. */
    val canRetry: Boolean get() = canAsk && messages.any { it.speaker == Speaker.USER }
}
