package org.tinyaya.demo

import org.junit.Test
import org.tinyaya.demo.bundle.BundleError
import org.tinyaya.demo.bundle.DeviceMemory
import org.tinyaya.demo.bundle.JsonError
import org.tinyaya.demo.bundle.JsonReader
import org.tinyaya.demo.bundle.Languages
import org.tinyaya.demo.bundle.Manifest
import org.tinyaya.demo.bundle.ManifestError
import org.tinyaya.demo.bundle.MemoryNeed
import org.tinyaya.demo.bundle.QualityFigures
import org.tinyaya.demo.bundle.TooLargeError
import org.tinyaya.demo.bundle.VersionError
import java.util.Locale
import kotlin.random.Random
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

class ManifestTest {
    private val bundle = Truth.bundle("int4")
    private val text = bundle.file(Manifest.NAME).readText()

    @Test fun `1000 mutated manifests give named errors or a manifest`() {
        val chance = Random(0)
        var refused = 0
        repeat(1000) {
            try {
                MemoryNeed.of(Manifest.parse(Mutation.mutate(text, chance), "mutated"))
            } catch (_: BundleError) {
                refused++
            }
        }
        assertTrue(refused > 500, "$refused")
    }

    @Test fun `faults are named`() {
        val faults = listOf(
            "\"format_version\": 1" to "\"format_version\": 2",
            "\"chunk\": 128" to "\"chunk\": 4096",
            "\"bos\": 2" to "\"bos\": 10240",
            "\"bos\": 2" to "\"bos\": true",
            "\"bos\": 2" to "\"bos\": 2, \"bos\": 2",
            "\"temperature\": 0.1" to "\"temperature\": NaN",
            "\"temperature\": 0.1" to "\"temperature\": -1",
            "\"tokenizer.json\"" to "\"../tokenizer.json\"",
            "\"slots\": 255" to "\"slots\": 100",
            "\"dtype\": \"int8\"" to "\"dtype\": \"int3\"",
            "\"layers\": 8" to "\"layers\": 9",
        )
        for ((old, new) in faults) {
            assertTrue(old in text, old)
            assertFailsWith<BundleError>(new) { Manifest.parse(text.replaceFirst(old, new).toByteArray(), "changed") }
        }
        assertFailsWith<VersionError> { Manifest.parse(text.replace("\"format_version\": 1", "\"format_version\": 7").toByteArray(), "new") }
        val missing = assertFailsWith<ManifestError> { Manifest.parse(text.replace("\"engine\"", "\"motor\"").toByteArray(), "old") }
        assertTrue("'engine'" in missing.message!!)
    }

    @Test fun `keys that are not known are left alone`() {
        val more = text.replaceFirst("{", "{\"later\": {\"x\": [1]}, ")
        assertEquals(bundle.manifest, Manifest.parse(more.toByteArray(), "more"))
    }

    @Test fun `JSON is read strictly`() {
        val objects = listOf("{", "{\"a\":1,}", "{\"a\":1,\"a\":2}")
        for (bad in objects + listOf("", "[1,]", "01", "1.", "+1", "\"\u0001\"", "\"\\x\"", "nul", "[1] 2", "Infinity", "\"\\u12\"")) {
            assertFailsWith<JsonError>(bad) { JsonReader(bad.toByteArray()).document() }
        }
        assertFailsWith<JsonError> { JsonReader(byteArrayOf('"'.code.toByte(), 0xff.toByte(), '"'.code.toByte())).document() }
        assertFailsWith<JsonError> { JsonReader("[".repeat(5000).toByteArray()).document() }
        val good = "[\"a\\\"\\u0628\ud83d\ude00\", -1, 2.5, true, null]"
        assertEquals(listOf("a\"\u0628\ud83d\ude00", -1L, 2.5, true, null), JsonReader(good.toByteArray()).document())
    }

    @Test fun `memory is compared before anything is loaded`() {
        val needed = MemoryNeed.of(bundle.manifest)
        assertTrue(needed in 300_000_000..330_000_000, "$needed")
        MemoryNeed.check(bundle.manifest, DeviceMemory(needed + 100, 100, 1L shl 33))
        val error = assertFailsWith<TooLargeError> { MemoryNeed.check(bundle.manifest, DeviceMemory(needed + 99, 100, 1L shl 33)) }
        assertEquals(needed, error.neededBytes)
    }

    @Test fun `languages come from the bundle`() {
        val found = Languages.of(bundle)
        assertTrue(found.size >= 67 && "sw" in found && "code" !in found && "emoji" !in found, "$found")
        val listed = bundle.copy(manifest = bundle.manifest.copy(languages = listOf("sw", "am", "code")))
        assertEquals(listOf("am", "sw"), Languages.of(listed))
        val short = mapOf("mean_kl" to 0.0085, "worst_language" to "am", "worst_kl" to 0.02, "later" to 1L)
        assertEquals(QualityFigures(8.5, "am", 20.0), QualityFigures.of(bundle.manifest.copy(quality = short)))
        assertEquals(null, QualityFigures.of(bundle.manifest.copy(quality = mapOf("mean_kl" to "x"))))
        assertEquals(null, QualityFigures.of(bundle.manifest))
        assertEquals("Swahili", Languages.english("sw"))
        assertEquals("Kiswahili", Languages.display("sw", Locale.forLanguageTag("sw")))
    }
}
