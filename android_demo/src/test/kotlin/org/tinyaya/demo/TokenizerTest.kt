package org.tinyaya.demo

import org.junit.Test
import org.tinyaya.demo.bundle.InvalidTextError
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.TokenizerError
import org.tinyaya.demo.tokenizer.Tokenizer
import java.io.File
import kotlin.random.Random
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class TokenizerTest {
    private val bundle = Truth.bundle("fp32")
    private val tokenizer = Tokenizer.open(bundle.file(Manifest.TOKENIZER), bundle.manifest.tokens.bos)
    private val truth = Truth.read("tokens").map()

    @Test fun `golden texts get the exporter's ids`() {
        val cases = bundle.goldenTokens()
        assertTrue(cases.size >= 77)
        tokenizer.check(cases)
    }

    @Test fun `all texts of all languages get Python's ids, and come back exactly`() {
        val texts = truth["texts"].map()
        assertTrue(texts.size >= 67)
        for ((name, ids) in texts) {
            val text = File(Truth.texts, "$name.txt").readText()
            val found = tokenizer.encode(text, addBos = false)
            assertContentEquals(ids.ids(), found, "$name")
            assertEquals(text, tokenizer.decode(found))
        }
    }

    @Test fun `6000 mixtures of scripts, digits, spaces and special tokens get Python's ids`() {
        for (case in truth["mixed"].list()) {
            val text = case.map()["text"].text()
            assertContentEquals(case.map()["ids"].ids(), tokenizer.encode(text, addBos = true), text)
        }
    }

    @Test fun `random ids decode as in Python, and a stream joins to the same text`() {
        for (case in truth["decoded"].list()) {
            val ids = case.map()["ids"].ids()
            assertEquals(case.map()["text"], tokenizer.decode(ids), ids.joinToString())
            val stream = tokenizer.stream()
            val pieces = ids.map { stream.add(it) } + stream.flush()
            assertEquals(case.map()["text"], pieces.joinToString(""))
            assertTrue(pieces.none { it.isNotEmpty() && (it.first().isLowSurrogate() || it.last().isHighSurrogate()) })
        }
    }

    @Test fun `exactly one BOS`() {
        val bos = bundle.manifest.tokens.bos
        assertEquals(1, tokenizer.encode("<BOS_TOKEN>a", addBos = true).count { it == bos })
        assertEquals(1, tokenizer.encode("a", addBos = true).count { it == bos })
    }

    @Test fun `lone surrogates are refused by place`() {
        val error = assertFailsWith<InvalidTextError> { tokenizer.encode("ab\ud83d", addBos = false) }
        assertTrue("character 2" in error.message!!)
    }

    @Test fun `1000 mutated tokenizer files give named errors or a tokenizer`() {
        val original = bundle.file(Manifest.TOKENIZER).readText()
        val small = Mutation.smallTokenizer(original)
        Tokenizer.parse(small.toByteArray(), 2, "small").encode("abc", addBos = true)
        val chance = Random(1)
        var refused = 0
        repeat(1000) {
            val mutated = Mutation.mutate(small, chance)
            try {
                Tokenizer.parse(mutated, 2, "mutated").encode("Hello 12345 world's \u0628", addBos = true)
            } catch (_: TokenizerError) {
                refused++
            }
        }
        assertTrue(refused > 500, "$refused")
    }

    @Test fun `what cannot be exact is refused by name`() {
        val original = Mutation.smallTokenizer(bundle.file(Manifest.TOKENIZER).readText())
        val changes = listOf(
            "\"normalizer\":null" to "\"normalizer\":{\"type\":\"NFC\"}",
            "\"behavior\":\"Isolated\"" to "\"behavior\":\"Removed\"",
            "\"type\":\"BPE\"" to "\"type\":\"Unigram\"",
            "\"byte_fallback\":false" to "\"byte_fallback\":true",
            "(?!\\\\S)" to "(?<!\\\\S)",
            "\\\\p{Lu}" to "\\\\p{Zzz}",
        )
        for ((old, new) in changes) {
            assertTrue(old in original, old)
            assertFailsWith<TokenizerError>(new) { Tokenizer.parse(original.replace(old, new).toByteArray(), 2, "changed") }
        }
    }
}
