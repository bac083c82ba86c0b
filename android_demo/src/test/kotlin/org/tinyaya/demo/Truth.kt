package org.tinyaya.demo

import org.tinyaya.demo.bundle.Bundle
import org.tinyaya.demo.bundle.JsonReader
import java.io.File

/** What CI prepares: bundles that this project exported, and what its Python runtime says of them. */
object Truth {
    private val bundles = File(property("bundles"))
    val texts = File(property("texts"))

    fun bundle(name: String): Bundle = Bundle.open(File(bundles, name), checkHashes = false)

    fun bundleNames(): List<String> = bundles.list()!!.sorted()

    fun read(name: String): Any? = JsonReader(File(property("truth"), "$name.json").readBytes()).document()

    fun property(name: String): String = checkNotNull(System.getProperty(name)) { "-D$name is missing" }

    fun temporaryFolder(): File = kotlin.io.path.createTempDirectory("demo").toFile().also { it.deleteOnExit() }
}

fun Any?.map(): Map<*, *> = this as Map<*, *>

fun Any?.list(): List<*> = this as List<*>

fun Any?.ids(): IntArray = list().map { (it as Long).toInt() }.toIntArray()

fun Any?.text(): String = this as String
