package org.tinyaya.demo

import org.junit.After
import org.junit.Test
import org.tinyaya.demo.bundle.BundleImport
import org.tinyaya.demo.bundle.BundleSource
import org.tinyaya.demo.bundle.BundleStore
import org.tinyaya.demo.bundle.ChangedFileError
import org.tinyaya.demo.bundle.ImportProgress
import org.tinyaya.demo.bundle.LoadGuard
import org.tinyaya.demo.bundle.MissingFileError
import org.tinyaya.demo.bundle.TooLargeError
import java.io.File
import java.io.InputStream
import java.util.concurrent.CancellationException
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

class ImportTest {
    private val home = Truth.temporaryFolder()
    private val installed = File(home, "bundles").also { it.mkdirs() }
    private val opened = mutableListOf<String>()
    private val free = 1L shl 40

    private inner class Folder(private val folder: File) : BundleSource {
        override val name = "my bundle"

        override fun open(file: String): InputStream? {
            opened += file
            return File(folder, file).takeIf { it.isFile }?.inputStream()
        }
    }

    private val source = File(home, "source").also { Truth.bundle("int4").folder.copyRecursively(it) }

    @After fun tidy() {
        home.deleteRecursively()
    }

    private fun import() = BundleImport(installed, Folder(source))

    @Test fun `a bundle is copied, proven and named`() {
        var last = ImportProgress(0, 0)
        val bundle = import().run(free, { false }) { last = it }
        assertEquals("my-bundle", bundle.folder.name)
        assertEquals(last.totalBytes, last.doneBytes)
        val inventory = BundleStore(installed, null, File(home, "marks")).list()
        assertEquals(listOf(true), inventory.bundles.map { it.isVerified })
    }

    @Test fun `a stopped import goes on where it was`() {
        var done = 0L
        assertFailsWith<CancellationException> { import().run(free, { done > 3_000_000 }) { done = it.doneBytes } }
        assertTrue(File(installed, "my-bundle.part").isDirectory)
        opened.clear()
        import().run(free, { false }) { }
        assertFalse("chat_template.jinja" in opened, "$opened")
        assertTrue(File(installed, "my-bundle/manifest.json").isFile)
    }

    @Test fun `a part that was changed on the disk is found and copied again`() {
        var done = 0L
        assertFailsWith<CancellationException> { import().run(free, { done > 3_000_000 }) { done = it.doneBytes } }
        val part = File(installed, "my-bundle.part").listFiles()!!.filter { it.name != "manifest.json" }.maxBy { it.length() }
        part.writeBytes(part.readBytes().also { it[0] = (it[0] + 1).toByte() })
        assertFailsWith<ChangedFileError> { import().run(free, { false }) { } }
        import().run(free, { false }) { }
    }

    @Test fun `a changed, longer, shorter or missing file is refused`() {
        val data = File(source, "model.onnx.data")
        val good = data.readBytes()
        data.writeBytes(good.copyOf().also { it[5] = (it[5] + 1).toByte() })
        assertFailsWith<ChangedFileError> { import().run(free, { false }) { } }
        data.writeBytes(good + 1)
        assertFailsWith<ChangedFileError> { import().run(free, { false }) { } }
        data.writeBytes(good.copyOf(good.size - 1))
        assertFailsWith<ChangedFileError> { import().run(free, { false }) { } }
        data.delete()
        assertFailsWith<MissingFileError> { import().run(free, { false }) { } }
        File(source, "manifest.json").delete()
        assertFailsWith<MissingFileError> { import().run(free, { false }) { } }
        assertTrue(BundleStore(installed, null, File(home, "marks")).list().bundles.isEmpty())
    }

    @Test fun `a full phone is told before anything is copied`() {
        assertFailsWith<TooLargeError> { import().run(1000, { false }) { } }
        assertFalse(File(installed, "my-bundle.part/model.onnx.data").exists())
    }

    @Test fun `pushed bundles are verified once, and again when a file changes`() {
        val pushed = File(home, "pushed")
        source.copyRecursively(File(pushed, "one"))
        val store = BundleStore(installed, pushed, File(home, "marks"))
        assertFalse(store.list().bundles.single().isVerified)
        store.verify(store.list().bundles.single().bundle) { }
        assertTrue(store.list().bundles.single().isVerified)
        File(pushed, "one/model.onnx.data").setLastModified(1000)
        assertFalse(store.list().bundles.single().isVerified)
        File(pushed, "one/model.onnx").appendText("x")
        assertEquals(1, store.list().broken.size)
    }

    @Test fun `a load that never ended is remembered`() {
        val guard = LoadGuard(File(home, "state/loading"))
        assertNull(guard.failed)
        guard.run("good") { assertEquals("good", guard.failed) }
        assertNull(guard.failed)
        assertFailsWith<IllegalStateException> { guard.run("bad") { error("an exception is an end") } }
        assertNull(guard.failed)
        var seen: String? = null
        Thread { guard.run("killed") { Thread.sleep(60_000) } }.apply { isDaemon = true; start() }
        repeat(100) { if (seen == null) Thread.sleep(20).also { seen = LoadGuard(File(home, "state/loading")).failed } }
        assertEquals("killed", seen)
    }
}
