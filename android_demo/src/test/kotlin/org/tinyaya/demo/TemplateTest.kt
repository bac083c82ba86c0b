package org.tinyaya.demo

import org.junit.Test
import org.tinyaya.demo.bundle.ChatTemplateError
import org.tinyaya.demo.template.ChatTemplate
import org.tinyaya.demo.template.Message
import kotlin.random.Random
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class TemplateTest {
    private val config = Truth.bundle("fp32").tokenizerConfig()

    @Test fun `templates render as jinja2 renders them`() {
        val cases = Truth.read("templates").list()
        assertTrue(cases.size >= 20)
        for (case in cases) {
            val messages = case.map()["messages"].list().map { Message(it.map()["role"].text(), it.map()["content"].text()) }
            val found =
                try {
                    ChatTemplate(case.map()["source"].text(), config).render(messages)
                } catch (error: ChatTemplateError) {
                    if (case.map()["text"] != null) throw error
                    null
                }
            assertEquals(case.map()["text"], found, "${case.map()["name"]} of $messages")
        }
    }

    @Test fun `2000 mutated templates give a text or the named error`() {
        val sources = Truth.read("templates").list().map { it.map()["source"].text() }.distinct()
        val chance = Random(2)
        val pieces = listOf("{{", "}}", "{%", "%}", "{#", "-", "|", "[", "]", "(", ")", "if", "for", "end", "'", ".", "range(999999999)", "\\")
        repeat(2000) {
            val source = StringBuilder(sources.random(chance))
            repeat(1 + chance.nextInt(4)) {
                val at = chance.nextInt(source.length)
                if (chance.nextBoolean()) source.insert(at, pieces.random(chance)) else source.delete(at, minOf(source.length, at + chance.nextInt(1, 9)))
            }
            try {
                ChatTemplate(source.toString(), config).render(listOf(Message("user", "x")))
            } catch (_: ChatTemplateError) {
                // that is what it may do
            }
        }
    }

    @Test fun `no messages are refused`() {
        assertFailsWith<ChatTemplateError> { ChatTemplate("x", config).render(emptyList()) }
    }

    @Test fun `what is nested without end is refused`() {
        assertFailsWith<ChatTemplateError> { ChatTemplate("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", config).render(listOf(Message("user", "x"))) }
        assertFailsWith<ChatTemplateError> { ChatTemplate("{{ " + "(".repeat(100_000) + " }}", config).render(listOf(Message("user", "x"))) }
    }
}
