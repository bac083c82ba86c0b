package org.tinyaya.demo.chat

import org.tinyaya.demo.bundle.JsonError
import org.tinyaya.demo.bundle.JsonReader
import org.tinyaya.demo.bundle.JsonWriter
import org.tinyaya.demo.model.StopReason
import java.io.File
import java.io.IOException

/** A conversation in, a file that outlives the process out, and back. */
class ChatFile(private val file: File) {
    /** Writes beside the file and renames, so that there is always a whole one. */
    fun save(state: ChatState) {
        val beside = File(file.path + ".new")
        try {
            file.parentFile?.mkdirs()
            beside.writeText(JsonWriter.write(tree(state)))
            beside.renameTo(file)
        } catch (_: IOException) {
            beside.delete() // a full phone must not end the conversation
        }
    }

    /** What was saved; an empty conversation where nothing, or nothing readable, was. */
    fun load(): ChatState =
        try {
            (JsonReader(file.readBytes()).document() as? Map<*, *>)?.let { state(it) } ?: ChatState()
        } catch (_: IOException) {
            ChatState()
        } catch (_: JsonError) {
            ChatState()
        }

    private fun tree(state: ChatState) =
        mapOf(
            "bundle" to state.bundle,
            "system_prompt" to state.settings.systemPrompt,
            "language" to state.settings.language,
            "is_translation" to state.settings.isTranslation,
            "messages" to state.messages.map { message ->
                mapOf("speaker" to message.speaker.name, "text" to message.text, "ended" to message.ended?.name) +
                    message.figures?.let {
                        mapOf("tokens" to it.tokens, "tokens_per_s" to it.tokensPerSecond, "first_token_ms" to it.firstTokenMs)
                    }.orEmpty()
            },
        )

    private fun state(tree: Map<*, *>) =
        ChatState(
            bundle = tree["bundle"] as? String,
            messages = (tree["messages"] as? List<*>).orEmpty().mapNotNull { message(it as? Map<*, *> ?: return@mapNotNull null) },
            settings = ChatSettings(
                systemPrompt = tree["system_prompt"] as? String ?: "",
                language = tree["language"] as? String,
                isTranslation = tree["is_translation"] == true,
            ),
        )

    private fun message(tree: Map<*, *>): ChatMessage? {
        val speaker = Speaker.entries.find { it.name == tree["speaker"] } ?: return null
        val tokens = tree["tokens"] as? Long
        val figures = tokens?.let { AnswerFigures(it.toInt(), number(tree["tokens_per_s"]), number(tree["first_token_ms"])) }
        val ended = StopReason.entries.find { it.name == tree["ended"] }
        return ChatMessage(speaker, tree["text"] as? String ?: return null, ended, figures)
    }

    private fun number(value: Any?): Double = (value as? Number)?.toDouble() ?: 0.0
}
