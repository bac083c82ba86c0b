package org.tinyaya.demo.chat

import org.tinyaya.demo.bundle.PromptTooLongError
import org.tinyaya.demo.model.LanguageModel
import org.tinyaya.demo.template.ChatTemplate
import org.tinyaya.demo.template.Message

/** What the model is told in the app's words; the names of languages are in English, which models know best. */
data class Wording(val answerIn: (String) -> String, val translateTo: (String, String) -> String)

/** A prompt, how much of the context it leaves, and how many messages did not fit. */
data class FittedPrompt(val text: String, val tokens: Int, val unseenMessages: Int)

/** Messages and settings in, the prompt out; [template] is null where the model is not tuned for chat. */
class ChatPrompt(private val template: ChatTemplate?, private val wording: Wording, private val englishName: (String) -> String) {
    /**
     * Renders as many of the newest messages as leave [reserve] tokens for the answer.
     *
     * Throws PromptTooLongError where the last message alone does not fit.
     */
    fun fit(messages: List<ChatMessage>, settings: ChatSettings, model: LanguageModel, reserve: Int): FittedPrompt {
        val relevant = if (settings.isTranslation || template == null) messages.takeLast(1) else messages
        val room = model.contextTokens - reserve
        var first = 0
        while (true) {
            val text = render(relevant.drop(first), settings)
            val tokens = model.countTokens(text)
            if (tokens <= room) return FittedPrompt(text, tokens, if (settings.isTranslation) 0 else messages.size - relevant.size + first)
            val next = (first + 1 until relevant.size).firstOrNull { relevant[it].speaker == Speaker.USER }
                ?: throw PromptTooLongError("$tokens tokens do not fit into $room; shorten the message")
            first = next
        }
    }

    private fun render(messages: List<ChatMessage>, settings: ChatSettings): String {
        if (template == null) return messages.last().text
        val system = systemText(settings)
        val turns = messages.map { turn(it, settings) }
        return template.render(if (system.isEmpty()) turns else listOf(Message("system", system)) + turns)
    }

    /** Without a text of the user's own, the template's default stays, which the bundle may hold ready. */
    private fun systemText(settings: ChatSettings): String {
        val answerIn = settings.language?.takeIf { !settings.isTranslation }?.let { wording.answerIn(englishName(it)) }
        return listOfNotNull(settings.systemPrompt.trim().ifEmpty { null }, answerIn).joinToString("\n")
    }

    private fun turn(message: ChatMessage, settings: ChatSettings): Message {
        if (message.speaker == Speaker.MODEL) return Message("assistant", message.text)
        val language = settings.language
        val isTranslated = settings.isTranslation && language != null
        return Message("user", if (isTranslated) wording.translateTo(englishName(language), message.text) else message.text)
    }
}
