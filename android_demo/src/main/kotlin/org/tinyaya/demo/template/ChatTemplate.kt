package org.tinyaya.demo.template

import org.tinyaya.demo.bundle.ChatTemplateError
import org.tinyaya.demo.bundle.RunError

/** One turn of a conversation; [role] is `system`, `user` or `assistant`. */
data class Message(val role: String, val content: String)

/** Messages in, the prompt's text out, rendered as jinja2 does in the Python runtime. */
class ChatTemplate(source: String, tokenizerConfig: Map<*, *>) {
    private val body =
        guarded("the chat template is broken") { TemplateParser(TemplateLexer(source).pieces()).parse() }
    private val special = listOf("bos_token", "eos_token").associateWith { tokenText(tokenizerConfig[it]) }

    /**
     * Text of the conversation, BOS included; it ends with the opening of the model's answer.
     *
     * Throws [ChatTemplateError] with the reason that the template gives.
     */
    fun render(messages: List<Message>): String {
        if (messages.isEmpty()) throw ChatTemplateError("there are no messages; expected at least one of role 'user'")
        val scope = Scope(null)
        Builtins.functions.forEach { (name, function) -> scope[name] = function }
        special.forEach { (name, text) -> scope[name] = text }
        scope["messages"] = messages.map { mapOf("role" to it.role, "content" to it.content) }
        scope["add_generation_prompt"] = true
        return guarded("the chat template refuses the messages") { Renderer().render(body, Scope(scope)) }
    }

    /** A token of tokenizer_config.json is its text, or an object that holds it. */
    private fun tokenText(token: Any?): String = (if (token is Map<*, *>) token["content"] else token) as? String ?: ""

    /** A template that was written for more than this app reads can fail in many ways; callers see one. */
    private fun <T> guarded(what: String, work: () -> T): T =
        try {
            work()
        } catch (error: RunError) {
            throw if (error is ChatTemplateError) error else ChatTemplateError("$what: ${error.message}", error)
        } catch (error: RuntimeException) {
            throw ChatTemplateError("$what: $error", error)
        } catch (error: StackOverflowError) {
            throw ChatTemplateError("$what: it is nested too deep", error)
        }
}
